// The loop of the JavaScript programs: requests from standard input, answers to standard output, any number at a time.

import { createInterface } from "node:readline";

/**
 * Answer until standard input ends.
 *
 * @param operations by name, async generators of (args, signal)
 * @param codeOf the JSON-RPC code that the client's exception shows, if any
 */
export async function serve(operations, codeOf) {
  const running = new Map();
  const say = (words) => process.stdout.write(JSON.stringify(words) + "\n");

  async function answer(id, operation, args, signal) {
    try {
      for await (const item of operation(args, signal)) say({ id, item });
      say({ id, done: true });
    } catch (error) {
      if (signal.aborted) say({ id, done: true });
      else say({ id, error: { code: codeOf(error) ?? null, message: `${error.name}: ${error.message}` } });
    } finally {
      running.delete(id);
    }
  }

  say({ id: 0, done: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, op, args } = JSON.parse(line);
    if (op === "stop") {
      running.get(id)?.abort();
    } else {
      const stop = new AbortController();
      running.set(id, stop);
      answer(id, operations[op], args, stop.signal);
    }
  }
  process.exit(0);
}

/** Options of one call: the stop signal, and where to continue a stream. */
export function callOptions({ after }, signal) {
  return { signal, serviceParameters: after == null ? {} : { "Last-Event-ID": String(after) } };
}
