// @a2a-js/sdk 1.x over JSON-RPC: `a2a_js_1.mjs URL PACKAGES GENERATION`. As "0.3" it is shown the card's 0.3 interfaces
// only, and speaks to them through its own compatibility layer; its objects are of 1.0 either way.

import { createRequire } from "node:module";
import { callOptions, serve } from "./lines.mjs";

const [, , url, packages, generation] = process.argv;
const require = createRequire(packages);
const { ClientFactory, ClientFactoryOptions, DefaultAgentCardResolver, JsonRpcTransportFactory } =
  require("a2a-js-sdk-1/client");
const { AgentCard, GetTaskRequest, SendMessageRequest, StreamResponse, SubscribeToTaskRequest, Task } =
  require("a2a-js-sdk-1");

async function connect() {
  if (generation === "1.0") return new ClientFactory().createFromUrl(url);
  const legacyCompat = { enabled: true };
  const cardResolver = new DefaultAgentCardResolver({ legacyCompat });
  const transports = [new JsonRpcTransportFactory({ legacyCompat })];
  const card = await cardResolver.resolve(url);
  card.supportedInterfaces = card.supportedInterfaces.filter((shown) => shown.protocolVersion.startsWith("0.3"));
  const options = ClientFactoryOptions.createFrom(ClientFactoryOptions.default, { cardResolver, transports });
  return new ClientFactory(options).createFromAgentCard(card);
}

function sent({ id, text, task, context, history, wait, metadata }) {
  const message = { messageId: id, role: "ROLE_USER", parts: [{ text }], taskId: task, contextId: context };
  const configuration = { returnImmediately: !wait, ...(history == null ? {} : { historyLength: history }) };
  return SendMessageRequest.fromJSON({ message, configuration, metadata });
}

async function* shown(events) {
  for await (const event of events) yield StreamResponse.toJSON(event);
}

const client = await connect();

await serve(
  {
    async *card({ path }) {
      yield AgentCard.toJSON(await new DefaultAgentCardResolver().resolve(url, path));
    },
    async *send(args, signal) {
      yield Task.toJSON(await client.sendMessage(sent(args), callOptions(args, signal)));
    },
    async *stream(args, signal) {
      yield* shown(client.sendMessageStream(sent(args), callOptions(args, signal)));
    },
    async *get({ task, history }) {
      const request = { id: task, ...(history == null ? {} : { historyLength: history }) };
      yield Task.toJSON(await client.getTask(GetTaskRequest.fromJSON(request)));
    },
    async *cancel({ task }) {
      yield Task.toJSON(await client.cancelTask({ id: task, tenant: "", metadata: undefined }));
    },
    async *subscribe(args, signal) {
      const request = SubscribeToTaskRequest.fromJSON({ id: args.task });
      yield* shown(client.resubscribeTask(request, callOptions(args, signal)));
    },
  },
  (error) => error.envelopeCode ?? error.cause?.envelopeCode,
);
