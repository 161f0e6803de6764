/** Loaded into every process of a benchmark with `--import`: it ends when the benchmark has, however that ended. */
process.once("disconnect", () => process.kill(process.pid, "SIGTERM"))
