// node train.mjs [STEPS [RECIPE]]: a new model learns arithmetic; steps, evaluation and generation on one set of weights.
import { Tokenizer } from '@quaver/generate';
import { chatExample, generateProblem, modelConfig, tokenizerFiles } from '@quaver/model-arithmetic';
import { createLlama } from '@quaver/models';
import { compileModel, openExecutor, openSession, streamText } from '@quaver/sdk/node';
import { adamw, Dataset, schedule, TrainingSession } from '@quaver/train';

const [steps = '30', recipe = 'fp8-block'] = process.argv.slice(2);
const problems = (split, count) => Array.from({ length: count }, (_, i) => chatExample(generateProblem(1, i, split)));

const module = createLlama(modelConfig, { seed: 0, files: tokenizerFiles() });
const executor = await openExecutor('cpu');
const optimizer = adamw({ beta2: 0.95, weightDecay: 0.1 });
const training = await TrainingSession.open(module, executor, {
  recipe,
  optimizer: () => optimizer,
  maxGradientNorm: 1,
});

const tokenizer = await Tokenizer.fromModule(module);
const dataset = await Dataset.fromExamples(problems('train', 2000), {
  ...{ tokenizer, rowTokens: 128, batchRows: 4, align: 1, seed: 0 },
  validation: { examples: problems('validation', 20) },
});
const rate = schedule({ decay: 'cosine', peak: 3e-3, steps: Number(steps), warmup: Math.floor(Number(steps) / 10) });

const validate = async () => (await training.evaluate(dataset.validation())).loss.toFixed(4);
console.log(`before: validation loss ${await validate()}`);
let step = 0;
for await (const { batch } of dataset.batches()) {
  if (step++ === Number(steps)) break;
  const { loss, gradNorm } = await training.step([batch], rate(step));
  if (step % 10 === 0) console.log(`step ${step}: loss ${loss.toFixed(4)}, gradient norm ${gradNorm.toFixed(3)}`);
}
console.log(`after: validation loss ${await validate()}`);

const { module: compiled } = await compileModel(training.trainedModule(), { recipe });
const model = await openSession(compiled, { executor, functions: ['prefill', 'decode'] });
const { prompt } = generateProblem(1, 0, 'held-out');
process.stdout.write(`${prompt}\n`);
const messages = [{ role: 'user', content: prompt }];
for await (const text of streamText(model, { messages, maxNewTokens: 48 })) process.stdout.write(text);
console.log();

await model[Symbol.asyncDispose]();
await dataset.close();
await training[Symbol.asyncDispose]();
await executor[Symbol.asyncDispose]();
