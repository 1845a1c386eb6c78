// @a2a-js/sdk 0.3.x over JSON-RPC: `a2a_js_03.mjs URL PACKAGES`.

import { createRequire } from "node:module";
import { callOptions, serve } from "./lines.mjs";

const [, , url, packages] = process.argv;
const { ClientFactory, DefaultAgentCardResolver } = createRequire(packages)("a2a-js-sdk-0.3/client");
const client = await new ClientFactory().createFromUrl(url);

function sent({ id, text, task, context, history, wait, metadata }) {
  const message = { kind: "message", messageId: id, role: "user", parts: [{ kind: "text", text }] };
  if (task) message.taskId = task;
  if (context) message.contextId = context;
  const configuration = { blocking: wait, ...(history == null ? {} : { historyLength: history }) };
  return { message, configuration, metadata };
}

await serve(
  {
    async *card({ path }) {
      yield await new DefaultAgentCardResolver().resolve(url, path);
    },
    async *send(args, signal) {
      yield await client.sendMessage(sent(args), callOptions(args, signal));
    },
    async *stream(args, signal) {
      yield* client.sendMessageStream(sent(args), callOptions(args, signal));
    },
    async *get({ task, history }) {
      yield await client.getTask({ id: task, ...(history == null ? {} : { historyLength: history }) });
    },
    async *cancel({ task }) {
      yield await client.cancelTask({ id: task });
    },
    async *subscribe(args, signal) {
      yield* client.resubscribeTask({ id: args.task }, callOptions(args, signal));
    },
  },
  (error) => (error.errorResponse ?? error.cause?.errorResponse)?.error.code,
);
