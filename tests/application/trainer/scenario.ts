// One day of the trainer, from an empty account list to a deleted user. Prints what it saw as one JSON object.
import * as accounts from "./accounts.js";
import * as learning from "./learning.js";
import { prisma } from "./lib/prisma.js";
import * as overrides from "./overrides.js";

const seen: Record<string, unknown> = {};
const at = (time: string) => new Date(`2026-03-29T${time}Z`);

/** Prisma's code of the error, by which a page tells a duplicate e-mail; "rule" where a rule of the database broke. */
async function codeOf(work: Promise<unknown>) {
  try {
    await work;
  } catch (error) {
    const { code } = error as { code?: string };
    // Prisma 7 has codes of its own for a broken check and for a value that is no JSON.
    if (/CHECK|P2039|P2007|violates check constraint|type json/.test(`${code} ${error}`)) return "rule";
    if (code?.startsWith("P2")) return code;
    throw error;
  }
  return "no error";
}

async function accountsAreMade() {
  const email = `${"O'Neil+test".repeat(5)}@${"sub.".repeat(40)}example.test`;
  const user = await accounts.register(email, "Correct horse 8", "cs");
  seen.email = user.email;
  seen.settings = user.settings?.language;
  seen.fresh = Math.abs(Date.now() - user.createdAt.getTime()) < 60_000;
  seen.role = user.role;
  seen.loggedIn = (await accounts.logIn(email.toUpperCase(), "Correct horse 8"))?.id === user.id;
  seen.refused = await accounts.logIn(email, "correct horse 8");
  seen.duplicate = await codeOf(accounts.register(email.toUpperCase(), "Another one 9"));
  seen.language = (await accounts.setLanguage(user.id, "en")).language;
  seen.promoted = (await accounts.promote(user.email)).role;
  seen.users = await prisma.user.count();
  return user.id;
}

async function answersAreGiven(userId: number) {
  const question = {
    ...{ userId, entityType: "question", module: "Question Bank", courseBlock: "block-3" },
    answers: { selected: "a" },
  };
  await learning.record({ ...question, entityId: "q1", score: 100, tags: ["beta", "alpha"] }, at("01:59:59.999"));
  await learning.record({ ...question, entityId: "q2", score: 0, tags: ["alpha"] }, at("02:00:00.000"));
  const feedback = { rubric: "3/4", strengths: ["dose"], gaps: [], next: "žluť \u{1F48A}" };
  const answered = { ...question, entityType: "case", module: "caseReasoning", answers: { text: "β-blocker" } };
  await learning.record({ ...answered, entityId: "c1", feedback, score: 66.67, tags: ["alpha"] }, at("02:00:00.001"));
  seen.progress = await learning.progress(userId);
  seen.range = await learning.history(userId, at("02:00:00.000"), at("02:00:00.001"));
  seen.ordered = await learning.history(userId, at("00:00:00.000"), at("23:59:59.999"));
  seen.wrongType = await codeOf(learning.record({ ...question, entityId: "x", entityType: "drug", score: 1, tags: [] }));
  seen.wrongScore = await codeOf(learning.record({ ...question, entityId: "x", score: 101, tags: [] }));
}

async function jsonIsFound(userId: number) {
  const stored = await prisma.attempt.findFirstOrThrow({ where: { userId, entityId: "c1" } });
  seen.stored = [typeof stored.answers, JSON.parse(stored.answers as string), JSON.parse(stored.feedback as string)];
  const made = { ...{ userId, entityType: "calc", score: 50 }, answers: { steps: { value: 5 }, unit: "mg" } };
  await prisma.attempt.create({ data: { ...made, entityId: "k1", createdAt: at("03:00:00.000") } });
  // SQLite takes the path as text, PostgreSQL as a list.
  const sqlite = process.env.DATABASE_URL?.startsWith("file:");
  const path = (...keys: string[]) => (sqlite ? `$.${keys.join(".")}` : keys) as never;
  const byPath = await prisma.attempt.findMany({
    where: { userId, AND: [{ answers: { path: path("steps", "value"), equals: 5 } }] },
  });
  seen.path = byPath.map((attempt) => [attempt.entityId, attempt.answers, attempt.feedback]);
  const byText = await prisma.attempt.findMany({ where: { answers: { path: path("unit"), string_contains: "m" } } });
  seen.text = byText.map((attempt) => attempt.entityId);
}

async function reviewsAreDue(userId: number) {
  await learning.review(userId, "question", "q1", 1, at("02:00:00.000"));
  await learning.review(userId, "", "", 6, at("02:00:00.000"));
  await learning.review(userId, "question", "q1", 2, at("02:00:00.000"));
  seen.due = await learning.due(userId, new Date("2026-03-31T02:00:00.000Z"));
  seen.notDue = await learning.due(userId, new Date("2026-03-31T01:59:59.999Z"));
  seen.items = await prisma.spacedRepetitionItem.count({ where: { userId, intervalDays: { gt: 1 } } });
}

async function datasetsAreEdited(adminId: number) {
  const dataset = { blocks: [], drugs: [{ id: "d1" }], questions: [], cases: [], interactions: [], doseTemplates: [] };
  const first = await overrides.save(adminId, "Spring", JSON.stringify(dataset), "imported");
  const draft = await overrides.save(adminId, "Draft", '\uFEFF{"blocks": [', "not finished");
  await overrides.activate(first.id);
  const second = await overrides.save(adminId, "Summer", JSON.stringify({ ...dataset, drugs: [] }));
  await overrides.activate(second.id);
  seen.refusedDraft = await codeOf(overrides.activate(draft.id));
  const active = await overrides.active();
  seen.active = [active?.name, active?.createdBy.email];
  seen.draft = (await prisma.datasetOverride.findUniqueOrThrow({ where: { name: "Draft" } })).jsonText;
  const edited = await overrides.save(adminId, "Summer", active?.jsonText ?? "", "edited");
  seen.edited = edited.updatedAt >= edited.createdAt && edited.description === "edited";
}

async function accountsAreDeleted() {
  const gone = await accounts.register("gone@example.test", "For a while 1");
  const answer = { ...{ userId: gone.id, entityType: "question", module: "Question Bank", courseBlock: "b" } };
  await learning.record({ ...answer, entityId: "q1", answers: { selected: "b" }, score: 100, tags: ["t"] });
  await learning.review(gone.id, "question", "q1", 1);
  await prisma.bookmark.create({ data: { userId: gone.id, entityType: "drug", entityId: "d1" } });
  await overrides.save(gone.id, "Gone", "{}");
  await accounts.deleteAccount(gone.id);
  const userId = gone.id;
  seen.left = await Promise.all([
    prisma.userSettings.count({ where: { userId } }),
    prisma.bookmark.count({ where: { userId } }),
    prisma.attempt.count({ where: { userId } }),
    prisma.progressByTag.count({ where: { userId } }),
    prisma.spacedRepetitionItem.count({ where: { userId } }),
    prisma.datasetOverride.count({ where: { createdById: userId } }),
  ]);
  const next = await accounts.register("next@example.test", "After him 2");
  seen.newId = next.id > gone.id;
  seen.session = await prisma.user.findUnique({ where: { id: gone.id } });
  seen.foreign = await codeOf(prisma.bookmark.create({ data: { userId, entityType: "drug", entityId: "d1" } }));
}

const userId = await accountsAreMade();
await answersAreGiven(userId);
await jsonIsFound(userId);
await reviewsAreDue(userId);
await datasetsAreEdited(userId);
await accountsAreDeleted();
await prisma.$disconnect();
console.log(JSON.stringify({ userId, ...seen }));
