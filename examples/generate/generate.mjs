// node generate.mjs [CHECKPOINT [PROMPT]]: import, compile, open an executor, stream.
import { compileModel, importModelFile, openExecutor, openSession, pullModel, streamText } from '@quaver/sdk/node';

const [checkpoint, prompt = 'What is a quaver in music?'] = process.argv.slice(2);
const { path } = checkpoint ? { path: checkpoint } : await pullModel('smollm2-135m-instruct');

const imported = await importModelFile(path);
const { module, report } = await compileModel(imported.module, { recipe: 'fp8-block' });
console.log(
  `${report.linears.length} linear layers in FP8; linear weights take ${report.linear_weights.ratio.toFixed(3)} of BF16\n`,
);

const executor = await openExecutor('cpu');
const model = await openSession(module, { executor, functions: ['prefill', 'decode'] });
const messages = [{ role: 'user', content: prompt }];
for await (const text of streamText(model, { messages, maxNewTokens: 64 })) process.stdout.write(text);
console.log();

await model[Symbol.asyncDispose]();
await executor[Symbol.asyncDispose]();
await imported.close();
