// People drawn on canvases, moving a little: pictures for screens that no camera is needed for.

const looks = [
  { wall: ["#54493f", "#2a241f"], light: "#c7a878", shirt: "#6e7b6a", skin: "#8c6248", hair: "#17110e", long: true },
  { wall: ["#3b4a50", "#1f2a2e"], light: "#8fa3ad", shirt: "#33475a", skin: "#c9a98e", hair: "#2a2320", long: false },
  { wall: ["#41445a", "#22243a"], light: "#9a9dc4", shirt: "#7a5560", skin: "#b98664", hair: "#1c1512", long: true },
  { wall: ["#4b4340", "#241f1d"], light: "#b9a999", shirt: "#39413e", skin: "#d7af92", hair: "#8a8580", long: false },
] as const;

export function person(index: number, width = 640, height = 360): MediaStream {
  const look = looks[index % looks.length] ?? looks[0];
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const c = canvas.getContext("2d");
  const draw = () => {
    if (!c) return;
    const sway = Math.sin(performance.now() / 900 + index) * 5;
    const wall = c.createLinearGradient(0, 0, width, height);
    wall.addColorStop(0, look.wall[0]);
    wall.addColorStop(1, look.wall[1]);
    c.fillStyle = wall;
    c.fillRect(0, 0, width, height);
    c.filter = "blur(14px)";
    c.globalAlpha = 0.45;
    c.fillStyle = look.light;
    c.fillRect(width * 0.06, height * 0.05, width * 0.2, height * 0.62);
    c.fillRect(width * 0.3, height * 0.05, width * 0.09, height * 0.62);
    c.globalAlpha = 1;
    c.filter = "none";
    const x = width / 2 + sway;
    c.fillStyle = look.shirt;
    c.beginPath();
    c.ellipse(x, height * 1.06, width * 0.27, height * 0.38, 0, 0, 7);
    c.fill();
    c.fillStyle = look.hair;
    c.beginPath();
    c.ellipse(x, height * (look.long ? 0.46 : 0.38), width * 0.115, height * (look.long ? 0.3 : 0.22), 0, 0, 7);
    c.fill();
    c.fillStyle = look.skin;
    c.fillRect(x - width * 0.038, height * 0.55, width * 0.076, height * 0.2);
    c.beginPath();
    c.ellipse(x, height * 0.47, width * 0.085, height * 0.19, 0, 0, 7);
    c.fill();
  };
  draw();
  setInterval(draw, 80);
  return canvas.captureStream(12);
}

export function slide(): MediaStream {
  const canvas = document.createElement("canvas");
  canvas.width = 1600;
  canvas.height = 900;
  const c = canvas.getContext("2d");
  const draw = () => {
    if (!c) return;
    c.fillStyle = "#fbfaf7";
    c.fillRect(0, 0, 1600, 900);
    c.fillStyle = "#16201c";
    c.font = "600 64px sans-serif";
    c.fillText("Crossings in the second quarter", 110, 160);
    [320, 250, 410, 530, 380, 450].forEach((h, i) => {
      c.fillStyle = i === 3 ? "#1c4a96" : "#c4cbc7";
      c.fillRect(130 + i * 230, 780 - h, 150, h);
    });
  };
  draw();
  setInterval(draw, 500);
  return canvas.captureStream(5);
}
