// The verbs of a journey for clients in JavaScript: the same as in clients/journey.py.
'use strict';

const DECISION = 'io.thoughtgate/decision';
const LIMIT = 20000;

class Heard {
  constructor() {
    this.changes = [];
    this.wake = () => {};
    this.clear();
  }

  clear() {
    Object.assign(this, { progress: [], logs: [], asked: [] });
    this.moved = new Promise((resolve) => { this.move = resolve; });
  }

  step({ progress, total, message }) {
    this.progress.push([progress, total ?? null, message ?? null]);
    this.move();
  }

  change(what) {
    this.changes.push(what);
    this.wake();
  }

  async changed() {
    while (this.changes.length === 0) await new Promise((resolve) => { this.wake = resolve; });
    return this.changes.shift();
  }

  told() {
    const said = { progress: this.progress, logs: this.logs, asked: this.asked };
    return Object.fromEntries(Object.entries(said).filter(([, value]) => value.length > 0));
  }
}

function part(block) {
  switch (block.type) {
    case 'text': return block.text;
    case 'resource': return `${block.resource.uri} ${block.resource.text ?? block.resource.blob}`;
    case 'resource_link': return `link ${block.uri}`;
    default: return `${block.mimeType} ${block.data}`;
  }
}

function value(asked) {
  if (asked.enum) return asked.enum[0];
  const choices = asked.oneOf ?? asked.anyOf;
  if (choices) return choices[0].const;
  const formats = { email: 'ada@example.com', uri: 'https://example.com/', date: '1815-12-10' };
  if (asked.format) return formats[asked.format] ?? '1815-12-10T00:00:00Z';
  if (asked.type === 'boolean') return true;
  if (asked.type === 'integer' || asked.type === 'number') return asked.minimum ?? 1;
  return asked.type === 'array' ? [value(asked.items ?? {})] : 'Ada';
}

/** The client's answers to the server's questions. */
function answers(heard) {
  const asked = (method, answer) => (request) => {
    heard.asked.push(method);
    return answer(request);
  };
  const fill = ({ properties }) =>
    Object.fromEntries(Object.entries(properties ?? {}).map(([name, kind]) => [name, value(kind)]));
  return {
    'sampling/createMessage': asked('sampling/createMessage', () => ({
      role: 'assistant', model: 'none', content: { type: 'text', text: 'Paris' },
    })),
    'elicitation/create': asked('elicitation/create', (request) => ({
      action: 'accept', content: fill(request.params.requestedSchema),
    })),
    'roots/list': asked('roots/list', () => ({
      roots: [{ uri: 'file:///home/ada', name: 'home' }],
    })),
  };
}

/** What the client does with the server's notifications. */
function listeners(heard) {
  return {
    'notifications/message': ({ params }) => heard.logs.push(`${params.level}: ${params.data}`),
    'notifications/resources/updated': ({ params }) => heard.change(`updated ${params.uri}`),
    'notifications/tools/list_changed': () => heard.change('the tools have changed'),
  };
}

/** The verbs; `callTool(params, options)` calls, `taskOf(params)` does so as a task, `watch(uri)` gives a function that ends the watch. */
function verbs({ client, connected, callTool, taskOf, watch }, heard) {
  const call = (tool, given, signal) =>
    callTool({ name: tool, arguments: given ?? {} }, { onprogress: (step) => heard.step(step), signal });
  return {
    connect: () => connected(),
    tools: async () => (await client.listTools()).tools.map((tool) => tool.name).sort(),
    prompts: async () => (await client.listPrompts()).prompts.map((prompt) => prompt.name).sort(),
    resources: async () => (await client.listResources()).resources.map((found) => found.uri).sort(),
    templates: async () =>
      (await client.listResourceTemplates()).resourceTemplates.map((t) => t.uriTemplate).sort(),
    read: async ({ uri }) =>
      (await client.readResource({ uri })).contents.map((held) => held.text ?? held.blob),
    complete: async ({ ref, name, value: typed }) =>
      (await client.complete({ ref, argument: { name, value: typed } })).completion.values,
    log_level: async ({ level }) => (await client.setLoggingLevel(level), 'set'),
    ping: async () => (await client.ping(), 'pong'),
    async call({ tool, arguments: given }) {
      heard.clear();
      const result = await call(tool, given);
      const decision = result._meta?.[DECISION];
      return {
        content: result.content.map(part), error: result.isError ?? false, ...heard.told(),
        ...(decision && { decision }),
      };
    },
    async task({ tool, arguments: given }) {
      const said = [];
      for await (const message of taskOf({ name: tool, arguments: given ?? {} })) {
        said.push(message.type);
        if (message.type === 'error') throw message.error;
        if (message.type === 'result')
          return { content: message.result.content.map(part), error: message.result.isError ?? false, said };
      }
      return 'it ended without a result';
    },
    async prompt({ name, arguments: given }) {
      heard.clear();
      const result = await client.getPrompt({ name, arguments: given ?? {} });
      return { content: result.messages.map((said) => part(said.content)), ...heard.told() };
    },
    async watch({ call: tool, uri }) {
      const end = await watch(uri);
      await call(tool);
      const change = await heard.changed();
      await end();
      return change;
    },
    async cancel({ tool, arguments: given }) {
      heard.clear();
      const controller = new AbortController();
      const running = call(tool, given, controller.signal).then(() => 'it ended by itself', () => 'cancelled');
      await heard.moved;
      controller.abort();
      return running;
    },
  };
}

function limited(promise) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve(`waited ${LIMIT / 1000} s in vain`), LIMIT);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function travel(open) {
  const [url, era] = process.argv.slice(2);
  let text = '';
  for await (const piece of process.stdin) text += piece;
  const heard = new Heard();
  const traveller = await open(new URL(url), era, heard);
  const known = verbs(traveller, heard);
  const outcomes = [];
  for (const step of JSON.parse(text)) {
    try {
      // Where a human decides, nothing but the client's own limit shall end the waiting.
      const outcome = known[step.do](step);
      outcomes.push(await (step.patient ? outcome : limited(outcome)));
    } catch (error) {
      // A client's own limit has a code in words.
      if (typeof error.code !== 'number' && !(step.patient && error.code)) throw error;
      const message = error.message.replace(/^MCP error -?\d+: /, '');
      outcomes.push({ failed: error.code, message });
    }
  }
  await traveller.client.close();
  process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));
}

module.exports = { answers, listeners, travel };
