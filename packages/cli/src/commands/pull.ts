import { type PullProgress, pullModel } from '@quaver/sdk/node';
import { Command } from 'commander';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { formatBytes } from '../terminal/units.ts';

interface PullFlags extends OutputFlags {
  readonly gguf?: string;
  readonly offline?: true;
}

export function pullCommand(environment: Environment): Command {
  const command = new Command('pull')
    .description('Download a model into the cache and print where it is.')
    .argument('<model>', 'a short name (smollm2-135m-instruct) or hf:ORG/MODEL[@REVISION]')
    .option('--gguf <file>', 'take this GGUF file of the repository instead of its safetensors')
    .option('--offline', 'use the cache only');
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver pull smollm2-135m-instruct
  quaver pull hf:HuggingFaceTB/SmolLM2-135M-Instruct
  quaver import "$(quaver pull smollm2-135m-instruct)" -o model.qvr

Downloads resume where they stopped and are checked by sha256. Environment: QUAVER_CACHE (where models are kept),
HF_ENDPOINT (another hub), HF_TOKEN (for private models), HF_HUB_OFFLINE.`,
    )
    .action((model: string, flags: PullFlags) => pull(new Run(environment, flags), model, flags));
}

async function pull(run: Run, model: string, flags: PullFlags): Promise<void> {
  const { path, sha256, bytes, cached } = await pullModel(model, {
    signal: run.signal,
    onProgress: (event) => showProgress(run, event),
    ...(flags.gguf === undefined ? {} : { gguf: flags.gguf }),
    ...(flags.offline ? { offline: true } : {}),
  });
  run.note(`${cached ? 'In the cache already' : 'Downloaded'}: ${formatBytes(bytes)}, sha256 ${sha256}`);
  run.result({ path, sha256, bytes, cached }, () => path);
}

function showProgress(run: Run, event: PullProgress): void {
  switch (event.phase) {
    case 'download':
      run.progress.update(`Downloading ${event.file}`, event.receivedBytes, event.totalBytes);
      break;
    case 'extract':
      run.progress.update(`Unpacking ${event.file}`, event.writtenBytes, event.totalBytes);
      break;
    case 'verify':
      run.progress.update(`Checking ${event.file}`, 0);
      break;
    case 'fallback':
      run.note(`The hub is out of reach (${event.reason}); taking the model from ${event.source}.`);
  }
}
