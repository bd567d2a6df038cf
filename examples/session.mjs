// A Node program on a session of its own: krakenws as a child process, promises by id, events as they come.
//
//     node session.mjs [PAIR [QUOTES]] [-- OPTIONS OF krakenws session]
//
// Prints so many quotes, then has an order checked. Needs an API key (or: -- --sandbox).

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

class Session {
  #child;
  #answers = new Map();
  #last = 0;

  constructor(options, onEvent) {
    this.#child = spawn("krakenws", ["session", "--quiet", ...options], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const event = JSON.parse(line); // prices are strings: no digit is lost
      const settle = this.#answers.get(event.id);
      this.#answers.delete(event.id);
      (settle ?? onEvent)(event);
    });
  }

  // Resolves with the first answer to a request: subscribed, refused, reply, unanswered or error.
  ask(request) {
    const id = ++this.#last;
    this.#child.stdin.write(`${JSON.stringify({ ...request, id })}\n`);
    return new Promise((resolve) => this.#answers.set(id, resolve));
  }

  async close() {
    this.#child.stdin.end(); // open answers still come
    const [code] = await once(this.#child, "exit");
    return code;
  }
}

const rest = process.argv.slice(2);
const at = rest.indexOf("--");
const [pair = "XBT/USD", quotes = "5"] = at < 0 ? rest : rest.slice(0, at);
let left = Number(quotes);
let enough;
const seen = new Promise((resolve) => (enough = resolve));

const session = new Session(at < 0 ? [] : rest.slice(at + 1), (event) => {
  if (event.event === "gap" || event.event === "disconnected") console.error(`quotes may be missing: ${event.cause}`);
  if (event.event !== "update" || left <= 0) return;
  for (const { bid, ask } of event.data) console.log(pair, bid, ask);
  if (--left === 0) enough();
});

const watching = await session.ask({ do: "spread", pair: [pair] });
if (watching.event !== "subscribed") {
  console.error(watching.error ?? watching.message);
  await session.close();
  process.exit(1);
}
await seen;
const order = await session.ask({
  do: "addOrder", pair, type: "buy", ordertype: "market", volume: "0.01", validate: "true",
});
console.log(order.event, order.outcome ?? order.message, order.result?.descr ?? order.error ?? "");
process.exit((await session.close()) || (order.success ? 0 : 1));
