// The wire: every frame that passes between Bob's devices and his servers.

import { $, element, inNextFrame, putFirst, say } from "./dom.js";

const SHOWN = 200;
const CUT = 600;

let count = 0;
const waiting = [];

/** Shows the frames of a client, or of a receiver, under a name. */
export function watch(client, name) {
  $("whose").append(element("option", {}, name));
  client.onFrame((direction, json) => {
    count += 1;
    waiting.push({ direction, json, name });
    if (waiting.length > SHOWN) waiting.shift();
    draw();
  });
}

const draw = inNextFrame(() => {
  say($("count"), `${count.toLocaleString("en")} frames`);
  if (!$("wire").open) return;
  const whose = $("whose").value;
  for (const frame of waiting.splice(0)) {
    if (!whose || frame.name === whose) putFirst($("frames"), line(frame), SHOWN);
  }
});

function line({ direction, json, name }) {
  const type = /"type":"(\w+)"/.exec(json)?.[1] ?? "";
  const isIn = direction === "in";
  const more = json.length > CUT ? `… ${json.length} characters` : "";
  return element(
    "li",
    { className: direction },
    element("span", { className: "arrow", title: isIn ? "from the server" : "to the server" },
      isIn ? "◀" : "▶", element("span", { className: "unseen" }, isIn ? "received" : "sent")),
    element("span", { className: "quiet" }, ` ${name} `),
    element("b", {}, type),
    element("code", {}, json.slice(0, CUT) + more),
  );
}

$("wire").addEventListener("toggle", draw);
$("clear").addEventListener("click", () => {
  waiting.length = 0;
  $("frames").replaceChildren();
});
$("whose").addEventListener("change", () => $("frames").replaceChildren());
