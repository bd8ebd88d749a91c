// Greets whoever asks for a pet, and keeps owners' names to itself.
import { text, setText } from 'micro-gw:interceptor/body@0.1.0';
import { attribute, parameters, setAttribute } from 'micro-gw:interceptor/exchange@0.1.0';
import { get } from 'micro-gw:interceptor/headers@0.1.0';

export function onRequest() {
  const { forbidden } = JSON.parse(parameters());
  const name = get('x-name') ?? 'nobody';
  if (name === forbidden) {
    return { tag: 'respond', val: { status: 403, headers: [['x-why', 'name']], body: new Uint8Array() } };
  }
  setAttribute('name', name);
  return { tag: 'proceed' };
}

export function onResponse() {
  const pet = JSON.parse(text());
  delete pet.owner;
  pet.greeting = `Hello, ${attribute('name')}!`;
  setText(JSON.stringify(pet), 'application/json');
  return { tag: 'proceed' };
}
