// What the trainer writes when somebody answers, and what its pages read.
import { prisma } from "./lib/prisma.js";

export type Answer = {
  userId: number;
  entityType: string;
  entityId: string;
  answers: unknown;
  feedback?: unknown;
  score: number;
  module: string;
  courseBlock: string;
  tags: string[];
};

/** The attempt, and one row of progress for each tag, in one transaction. */
export async function record(answer: Answer, now = new Date()) {
  const { userId, module, courseBlock } = answer;
  const correct = answer.score >= 50;
  return prisma.$transaction(async (tx) => {
    const attempt = await tx.attempt.create({
      data: {
        userId,
        entityType: answer.entityType,
        entityId: answer.entityId,
        answers: JSON.stringify(answer.answers),
        feedback: answer.feedback === undefined ? undefined : JSON.stringify(answer.feedback),
        score: answer.score,
        createdAt: now,
      },
    });
    for (const tag of answer.tags) {
      await tx.progressByTag.upsert({
        where: { userId_module_courseBlock_tag: { userId, module, courseBlock, tag } },
        update: {
          correctCount: { increment: correct ? 1 : 0 },
          wrongCount: { increment: correct ? 0 : 1 },
          lastAttemptAt: now,
        },
        create: {
          ...{ userId, module, courseBlock, tag, lastAttemptAt: now },
          correctCount: correct ? 1 : 0,
          wrongCount: correct ? 0 : 1,
        },
      });
    }
    return attempt;
  });
}

export async function review(userId: number, entityType: string, entityId: string, days: number, now = new Date()) {
  const plan = {
    easeFactor: 2.5,
    intervalDays: days,
    nextReviewAt: new Date(now.getTime() + days * 86_400_000),
    lastReviewedAt: now,
  };
  return prisma.spacedRepetitionItem.upsert({
    where: { userId_entityType_entityId: { userId, entityType, entityId } },
    update: plan,
    create: { userId, entityType, entityId, ...plan },
  });
}

export async function due(userId: number, at: Date) {
  const found = await prisma.spacedRepetitionItem.findMany({
    where: { userId, nextReviewAt: { lte: at } },
    orderBy: { nextReviewAt: "asc" },
  });
  return found.map((item) => item.entityId);
}

/** The ids of the entities of all attempts in [from, to), the newest first. */
export async function history(userId: number, from: Date, to: Date) {
  const found = await prisma.attempt.findMany({
    where: { userId, createdAt: { gte: from, lt: to } },
    orderBy: [{ createdAt: "desc" }, { id: "desc" }],
  });
  return found.map((attempt) => attempt.entityId);
}

export async function progress(userId: number) {
  return prisma.progressByTag.findMany({
    where: { userId },
    orderBy: [{ module: "asc" }, { courseBlock: "asc" }, { tag: "asc" }],
    select: { module: true, courseBlock: true, tag: true, correctCount: true, wrongCount: true, lastAttemptAt: true },
  });
}
