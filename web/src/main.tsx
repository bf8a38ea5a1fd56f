import { render } from "preact";
render(<p>Conclave</p>, document.getElementById("app")!);
