// A journey with @modelcontextprotocol/sdk 1.x, which speaks the revisions up to 2025-11-25.
'use strict';

const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = require('@modelcontextprotocol/sdk/client/streamableHttp.js');
const types = require('@modelcontextprotocol/sdk/types.js');
const { answers, listeners, travel } = require('./journey.cjs');

const SCHEMAS = {
  'sampling/createMessage': types.CreateMessageRequestSchema,
  'elicitation/create': types.ElicitRequestSchema,
  'roots/list': types.ListRootsRequestSchema,
  'notifications/message': types.LoggingMessageNotificationSchema,
  'notifications/resources/updated': types.ResourceUpdatedNotificationSchema,
  'notifications/tools/list_changed': types.ToolListChangedNotificationSchema,
};

travel(async (url, _era, heard) => {
  const client = new Client(
    { name: 'sdk1', version: '1' },
    { capabilities: { sampling: {}, elicitation: {}, roots: {} } },
  );
  for (const [method, answer] of Object.entries(answers(heard)))
    client.setRequestHandler(SCHEMAS[method], answer);
  for (const [method, listener] of Object.entries(listeners(heard)))
    client.setNotificationHandler(SCHEMAS[method], listener);
  const transport = new StreamableHTTPClientTransport(url);
  await client.connect(transport);
  return {
    client,
    connected: () => ({ protocol: transport.protocolVersion, server: client.getServerVersion().name }),
    callTool: (params, options) => client.callTool(params, undefined, options),
    taskOf: (params) =>
      client.experimental.tasks.callToolStream(params, types.CallToolResultSchema, { task: {} }),
    watch: async (uri) => {
      if (uri) await client.subscribeResource({ uri });
      return async () => {};
    },
  };
});
