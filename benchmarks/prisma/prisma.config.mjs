// Prisma's command line on SQLite, with its engine in WebAssembly: nothing is downloaded.
import { PrismaBetterSQLite3 } from "@prisma/adapter-better-sqlite3";
import { defineConfig } from "prisma/config";

export default defineConfig({
  experimental: { adapter: true },
  engine: "js",
  schema: "schema.prisma",
  migrations: { path: "migrations", seed: "node prisma_seed.mjs" },
  adapter: async () => new PrismaBetterSQLite3({ url: process.env.DATABASE_URL }),
});
