// The Prometheus operator's own kinds, judged by the schemas of its definitions: node operator.mjs FOLDER, whose node_modules has them; JSON documents on
// standard input, one a line.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const models = `${process.argv[2]}/node_modules/@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index.js`;
const kinds = await import(pathToFileURL(models));
for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const document = JSON.parse(line);
  try {
    new kinds[document.kind](document).validate();
    console.log(`${document.kind} fits`);
  } catch (error) {
    console.log(`${document.kind}: ${error.message}`);
  }
}
