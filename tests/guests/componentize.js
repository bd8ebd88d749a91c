// Makes a component of a module: node componentize.js MODULE WORLD OUTPUT [quickjs]
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [sourcePath, worldName, output, engine] = process.argv.slice(2);
const witPath = fileURLToPath(new URL('../../interceptors/wit', import.meta.url));

async function component() {
  if (engine === 'quickjs') {
    const { componentize } = (await import('componentize-qjs')).default;
    const jsSource = readFileSync(sourcePath, 'utf8');
    return componentize({ witPath, world: worldName, jsSource, jsPath: sourcePath, sync: true });
  }
  const { componentize } = await import('@bytecodealliance/componentize-js');
  return componentize({ witPath, worldName, sourcePath, disableFeatures: ['http', 'fetch-event'] });
}

writeFileSync(output, (await component()).component);
