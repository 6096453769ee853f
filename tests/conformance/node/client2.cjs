// A journey with @modelcontextprotocol/client 2.x, which speaks both eras.
'use strict';

const { Client, LOG_LEVEL_META_KEY, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client');
const { answers, listeners, travel } = require('./journey.cjs');

travel(async (url, era, heard) => {
  const client = new Client(
    { name: 'client2', version: '1' },
    {
      capabilities: { sampling: {}, elicitation: {}, roots: {} },
      versionNegotiation: { mode: era === 'modern' ? 'auto' : 'legacy' },
    },
  );
  for (const [method, answer] of Object.entries(answers(heard))) client.setRequestHandler(method, answer);
  for (const [method, listener] of Object.entries(listeners(heard)))
    client.setNotificationHandler(method, listener);
  await client.connect(new StreamableHTTPClientTransport(url));
  const modern = client.getNegotiatedProtocolVersion() >= '2026';
  return {
    client,
    connected: () => ({
      protocol: client.getNegotiatedProtocolVersion(), server: client.getServerVersion().name,
    }),
    // In 2026-07-28 a server logs for those requests only that ask for it.
    callTool: (params, options) =>
      client.callTool(modern ? { ...params, _meta: { [LOG_LEVEL_META_KEY]: 'info' } } : params, options),
    watch: async (uri) => {
      if (modern) {
        const wanted = uri ? { resourceSubscriptions: [uri] } : { toolsListChanged: true };
        const subscription = await client.listen(wanted);
        return () => subscription.close();
      }
      if (uri) await client.subscribeResource({ uri });
      return async () => {};
    },
  };
});
