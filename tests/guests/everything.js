// Uses all that there is, and what engines of JavaScript need of WASI.
import * as body from 'micro-gw:interceptor/body@0.1.0';
import * as caller from 'micro-gw:interceptor/caller@0.1.0';
import * as exchange from 'micro-gw:interceptor/exchange@0.1.0';
import * as headers from 'micro-gw:interceptor/headers@0.1.0';
import * as logging from 'micro-gw:interceptor/logging@0.1.0';
import * as request from 'micro-gw:interceptor/request@0.1.0';
import * as edits from 'micro-gw:interceptor/request-edits@0.1.0';
import * as response from 'micro-gw:interceptor/response@0.1.0';

let calls = 0;

export function onRequest() {
  calls += 1;
  globalThis.console?.log('a line of the console');
  logging.log('info', 'a line of the log');
  switch (headers.get('x-do')) {
    case 'throw':
      throw new Error('on purpose');
    case 'loop':
      for (;;);
    case 'recurse': {
      const down = (n) => 1 + down(n + 1);
      return down(0);
    }
    case 'memory': {
      const all = [];
      for (;;) all.push(new Uint8Array(1 << 20).fill(1));
    }
    case 'respond': {
      const text = [...'answered'].map((letter) => letter.charCodeAt(0));
      return { tag: 'respond', val: { status: 418, headers: [['x-why', 'asked']], body: new Uint8Array(text) } };
    }
  }
  let refused;
  try {
    headers.set('host', 'evil');
  } catch (error) {
    refused = error.payload ?? error;
  }
  const seen = {
    calls,
    refused,
    method: request.method(),
    path: request.path(),
    id: request.pathParameter('id'),
    x: request.queryParameter('x'),
    credential: request.header('authorization') ?? null,
    names: headers.names(),
    caller: caller.subject() ?? null,
    api: exchange.apiName(),
    parameters: JSON.parse(exchange.parameters()),
    body: body.text(),
    clock: Date.now() > 1e12,
    random: Math.random() !== Math.random(),
  };
  edits.setQueryParameter('y', 'a b');
  edits.setPath('/pet/2');
  headers.add('x-seen', 'by script');
  exchange.setAttribute('n', '1');
  body.setText(JSON.stringify(seen), 'application/json');
  return { tag: 'proceed' };
}

export function onResponse() {
  response.setStatus(202);
  headers.set('x-attribute', exchange.attribute('n') ?? 'none');
  headers.set('x-asked', request.method());
  body.setText(body.text().toUpperCase(), undefined);
  return { tag: 'proceed' };
}
