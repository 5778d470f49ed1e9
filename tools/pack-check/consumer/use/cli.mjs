import { runCli } from '@quaver/cli';

/** The exit code of a wrong command line. */
export default () => runCli(['no-such-command']);

export const expected = 2;
