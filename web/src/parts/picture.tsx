// A moving picture: a video element whose stream is set as a property, for there is no address to give.

import { useEffect, useRef } from "preact/hooks";

type Props = { stream: MediaStream; label: string; testid: string; class?: string; onSize?: (width: number, height: number) => void };

export function Picture({ stream, label, testid, class: className = "" }: Props) {
  const ref = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const video = ref.current;
    if (!video) return;
    if (video.srcObject !== stream) video.srcObject = stream;
    // A muted video may always play; where it may not yet, it starts by itself once it may.
    void video.play().catch(() => {});
    return () => {
      video.srcObject = null;
    };
  }, [stream]);
  return <video ref={ref} class={className} aria-label={label} data-testid={testid} autoplay playsInline muted disablePictureInPicture />;
}
