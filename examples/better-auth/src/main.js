// argv has nothing to say; the environment → settings → the service, until a signal comes.

import { readSettings, SettingsError } from "./settings.js";
import { startService } from "./service.js";

/** `EX_USAGE` of sysexits.h, for an environment that cannot be used. */
const EXIT_SETTINGS = 64;

try {
  const { address, origin, stop } = await startService(readSettings(process.env));
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, stop);
  console.log(`ready: listening on ${address}, issuer ${origin}`);
} catch (fault) {
  if (fault instanceof SettingsError) {
    for (const sentence of fault.faults) console.error(`better-auth-example: ${sentence}`);
    process.exit(EXIT_SETTINGS);
  }
  console.error("better-auth-example: the service could not start:", fault);
  process.exit(1);
}
