// Writes an attempt at a time, reads all of the user's, and looks for the time itself: [userId, ISO time].
import { history, record } from "./learning.js";
import { prisma } from "./lib/prisma.js";

const [userId, text]: [number, string] = JSON.parse(process.argv[2] ?? "[]");
const time = new Date(text);
const answer = { userId, entityType: "question", entityId: "now", answers: {}, score: 100 };
await record({ ...answer, module: "Question Bank", courseBlock: "b", tags: ["t"] }, time);
const attempts = await prisma.attempt.findMany({ where: { userId }, orderBy: { createdAt: "asc" } });
const found = await history(userId, time, new Date(time.getTime() + 1));
await prisma.$disconnect();
console.log(JSON.stringify({ attempts: attempts.map((a) => [a.entityId, a.createdAt, a.answers]), found }));
