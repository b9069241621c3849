// The operator's page: asks for the numbers every two seconds and shows them.
//
// The token stays in this module, and leaves it in the header Authorization alone.

const EVERY = 2000;
const KEPT = 60; // samples, so two minutes
const TRANSPORTS = { Stream: "websocket", Events: "events", Wait: "waiting" };

const $ = (id) => document.getElementById(id);
const history = [];
let token = "";

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("complaint").textContent = "";
  look();
});

async function look() {
  let again = EVERY;
  try {
    const answer = await fetch("admin/numbers", { headers: { Authorization: `Admin ${token}` } });
    if (answer.status === 401 || answer.status === 429) return refused(await answer.json());
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    say("bad", "no answer");
    again = 2 * EVERY;
    if ($("numbers").hidden) return complain(`There is no answer: ${error.message}.`);
  }
  setTimeout(look, again);
}

function refused(problem) {
  $("enter").hidden = false;
  $("numbers").hidden = true;
  say("", "not asked yet");
  complain(problem.detail);
  $("token").select();
}

function complain(sentence) {
  $("complaint").textContent = sentence;
}

function say(kind, text) {
  const health = $("health");
  if (health.textContent !== text) health.textContent = text;
  health.className = `pill ${kind}`;
}

// --- what is shown -------------------------------------------------------------------

function show(numbers) {
  $("enter").hidden = true;
  $("numbers").hidden = false;
  $("token").value = "";
  $("server").textContent = numbers.server;
  showHealth(numbers);
  history.push(summary(numbers));
  if (history.length > KEPT + 1) history.shift();
  showRates();
  showMailboxes(numbers);
  showRefusals(numbers.metrics);
  showErrors(numbers.errors);
  showAll(numbers.metrics);
}

function showHealth({ trouble, draining }) {
  $("trouble").hidden = trouble === null;
  if (trouble !== null) $("trouble").textContent = trouble;
  if (trouble !== null) say("bad", "not ready");
  else if (draining) say("warn", "stopping");
  else say("good", "ready");
}

/** The few numbers of which the last minutes are kept. */
function summary({ now, metrics }) {
  const total = (name) =>
    metrics.reduce((sum, [given, , value]) => (given === name ? sum + value : sum), 0);
  return {
    now,
    sessions: total("pushd_sessions"),
    accepted: total("pushd_accepted_total"),
    pushed: total("pushd_pushed_total"),
    acked: total("pushd_acked_total"),
    refused: total("pushd_refused_total"),
    opened: total("pushd_sessions_opened_total"),
    calls: total("pushd_store_call_seconds_count"),
    buckets: metrics
      .filter(([name]) => name === "pushd_store_call_seconds_bucket")
      .map(([, labels, value]) => [Number(labels.le.replace("+Inf", "Infinity")), value]),
  };
}

function showRates() {
  const last = history.at(-1);
  const tiles = [
    ["Sessions", format(last.sessions), history.map((one) => one.sessions)],
    rate("Accepted", "accepted"),
    rate("Pushed", "pushed"),
    rate("Acked", "acked"),
    rate("Refused", "refused"),
    rate("Sessions opened", "opened"),
    rate("Calls to the store", "calls"),
    ["Store, slowest 1 %", slowest(), history.slice(1).map((_, at) => quantile(at + 1))],
  ];
  $("rates").replaceChildren(...tiles.map(tile));
}

function rate(title, name) {
  const rates = history
    .slice(1)
    .map((one, at) => Math.max(0, one[name] - history[at][name]) / (one.now - history[at].now));
  return [title, rates.length ? `${format(rates.at(-1))}/s` : "…", rates];
}

function slowest() {
  const seconds = quantile(history.length - 1);
  return seconds === 0 ? "…" : seconds === Infinity ? "> 2 s" : `≤ ${format(seconds * 1000)} ms`;
}

/** In how many seconds 99 of 100 calls between two samples were answered, at most. */
function quantile(at) {
  if (at < 1) return 0;
  const before = new Map(history[at - 1].buckets);
  const counts = history[at].buckets.map(([le, value]) => [le, value - (before.get(le) ?? 0)]);
  const all = counts.at(-1)?.[1] ?? 0;
  return all === 0 ? 0 : counts.find(([, count]) => count >= 0.99 * all)[0];
}

function tile([title, value, line]) {
  const item = element("li", { className: "card" }, element("span", { className: "quiet" }, title));
  item.append(element("strong", {}, value), spark(line));
  return item;
}

function spark(values) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 1`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const finite = values.map((value) => (Number.isFinite(value) ? value : 2));
  const top = Math.max(...finite, 1e-9) * 1.1;
  const from = KEPT - finite.length;
  const points = finite.map((value, at) => `${from + at},${1 - value / top}`);
  if (points.length > 1) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", `M${from},1.1L${points.join("L")}L${KEPT},1.1`);
    svg.append(path);
  }
  return svg;
}

function showMailboxes({ mailboxes, listening, sampled }) {
  const shown = mailboxes.length;
  const sample = sampled < listening ? `, the deepest of a sample of ${sampled}` : "";
  $("mailboxes-note").textContent =
    `${format(listening)} have sessions at this worker; ${shown} shown${sample}.`;
  $("mailboxes").replaceChildren(
    ...mailboxes.map(({ mailbox, unread, full, sessions, heard }) =>
      row(
        element("code", {}, mailbox),
        `${format(unread)}${full ? " · full" : ""}`,
        Object.entries(sessions)
          .map(([kind, count]) => `${count} ${TRANSPORTS[kind] ?? kind.toLowerCase()}`)
          .join(", "),
        `${Math.round(heard)} s ago`,
      ),
    ),
  );
}

function showRefusals(metrics) {
  const codes = new Map();
  for (const [name, labels, value] of metrics) {
    if (name === "pushd_refused_total") of(codes, labels.code).requests += value;
    if (name === "pushd_connects_refused_total") of(codes, labels.reason).sessions += value;
  }
  const rows = [...codes]
    .sort(([, a], [, b]) => b.requests + b.sessions - a.requests - a.sessions)
    .map(([code, { requests, sessions }]) =>
      row(element("code", {}, code), format(requests), format(sessions), null),
    );
  $("refusals").replaceChildren(...(rows.length ? rows : [row("none", "0", "0", null)]));
}

function of(codes, code) {
  if (!codes.has(code)) codes.set(code, { requests: 0, sessions: 0 });
  return codes.get(code);
}

function showErrors(errors) {
  const items = [...errors].reverse().map(({ time, level, event, fields }) =>
    element(
      "li",
      {},
      element("span", { className: "quiet mono" }, new Date(time * 1000).toLocaleTimeString()),
      element("span", { className: level }, ` ${level} `),
      event,
      element(
        "span",
        { className: "quiet mono" },
        Object.entries(fields).map(([name, value]) => `  ${name}=${value}`).join(""),
      ),
    ),
  );
  $("errors").replaceChildren(...(items.length ? items : [element("li", {}, "None.")]));
}

function showAll(metrics) {
  const open = $("all").closest("details").open;
  if (!open) return;
  $("all").replaceChildren(
    ...metrics
      .filter(([name]) => !name.endsWith("_created"))
      .map(([name, labels, value]) => {
        const told = Object.entries(labels).map(([label, is]) => `${label}="${is}"`).join(",");
        return row(element("code", {}, told ? `${name}{${told}}` : name), String(value), null, null);
      }),
  );
}

// --- helpers -------------------------------------------------------------------------

/** A row of up to four cells; the second and the fourth are numbers, null is no cell. */
function row(...cells) {
  const line = element("tr", {});
  cells.forEach((cell, at) => {
    const isNumber = at % 2 === 1 || (at === 2 && cells[3] === null);
    if (cell !== null) line.append(element("td", { className: isNumber ? "number" : "" }, cell));
  });
  return line;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function format(number) {
  const digits = number !== 0 && Math.abs(number) < 10 && !Number.isInteger(number) ? 1 : 0;
  return number.toLocaleString("en", { maximumFractionDigits: digits });
}
