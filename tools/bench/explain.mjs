/** @file What the figures beside a line say about it: how near it is to a measured limit, and what else is known. */

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const percent = (share) => `${(100 * share).toFixed(0)} %`;

/** Below this share of a limit the limit does not explain the figure. */
const near = 0.7;

function reading({ value, peer_value: peerValue, details }) {
  const { ours, peer = {}, read_gbs: read } = details;
  const rate = (tokens, bytes) => (tokens * bytes) / 1e9;
  const own = rate(value, ours.bytes_per_token);
  const theirs = peer.bytes_per_token ?? peer.file_bytes;
  return [
    `a token reads ${megabytes(ours.bytes_per_token)} of weights, ${own.toFixed(1)} GB/s`,
    ...(theirs ? [`the peer at most ${megabytes(theirs)}, ${rate(peerValue, theirs).toFixed(1)} GB/s`] : []),
    `the memory gives ${read.toFixed(1)} GB/s: ${percent(own / read)} of it`,
    own / read >= near
      ? 'reading weights binds'
      : 'the rest of a step is attention, norms, sums, sampling and turns of threads',
  ];
}

function limits({ value, unit, details }, rows) {
  const { fma_gflops: fma, bf16_gflops: bf16, read_gbs: read } = details.ours.last_measured_limits;
  const known = [
    [fma, 'GFLOP/s of f32 FMA'],
    [bf16, 'GFLOP/s of vdpbf16ps'],
    [read, 'GB/s read'],
  ].filter(([amount]) => amount > 0);
  const peak = Math.max(fma, bf16);
  const bound = unit === 'GB/s' ? ['reading', read] : ['multiplying', peak];
  // FP8 weights: a byte that is read takes part in a product and a sum for every row.
  if (rows && read * 2 * rows < peak) bound.splice(0, 2, 'reading', read * 2 * rows);
  return [
    `limits: ${known.map(([amount, what]) => `${amount.toFixed(0)} ${what}`).join(', ')}`,
    `${bound[0]} is the tightest, ${percent(value / bound[1])} of it`,
  ];
}

function memory({ value, details }) {
  const { rss_before_loading: before, rss_peak: peak } = details.ours;
  const rest = value - before - details.peer_value;
  return [
    `${megabytes(before)} are Node and our code before anything is loaded, ${megabytes(details.peer_value)} weights and cache`,
    `${megabytes(rest)} the graph, the tokenizer and garbage of loading`,
    `peak ${megabytes(peak)}`,
  ];
}

/** Two threads that are slower than one say more about the machine than about the program. */
function disturbed({ id, value, peer_value: peerValue, peer }, results) {
  const single = id.endsWith('.t2') && results.find((other) => other.id === id.replace(/t2$/, 't1'));
  if (!single) return [];
  const slower = (two, one) => typeof one === 'number' && two < one;
  return [
    ...(slower(value, single.value) ? [`**two threads were slower than one (${single.value.toFixed(0)})**`] : []),
    ...(peer && slower(peerValue, single.peer_value)
      ? [
          `**the peer was slower with two threads than with one (${single.peer_value.toFixed(0)}): the ratio says little**`,
        ]
      : []),
  ];
}

/** One sentence, or nothing. */
export function explain(result, results) {
  const { unit, details, binds, peer_value: peerValue } = result;
  const { ours = {}, peer = {}, read_gbs: read, perplexity, perplexity_bf16: baseline } = details;
  const parts = [];
  if (read && ours.bytes_per_token) parts.push(...reading(result));
  if (ours.last_measured_limits) parts.push(...limits(result, binds?.rows));
  if (perplexity) {
    parts.push(
      `perplexity ${perplexity.toFixed(2)}, BF16 ${baseline.toFixed(2)} (${(perplexity / baseline).toFixed(4)})`,
    );
  }
  if (unit === 'bytes') parts.push(...memory({ ...result, details: { ...details, peer_value: peerValue } }));
  if (peer.bytes_per_token && !read) {
    parts.push(`a token reads ${megabytes(ours.bytes_per_token)}, the peer ${megabytes(peer.bytes_per_token)}`);
  }
  if (binds?.text) parts.push(binds.text);
  parts.push(...disturbed(result, results));
  return parts.join('; ');
}
