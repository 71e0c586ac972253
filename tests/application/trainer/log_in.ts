// Logs everybody in who is named: [[e-mail, password], …] as the argument; prints what the sessions would hold.
import { logIn } from "./accounts.js";
import { prisma } from "./lib/prisma.js";

const pairs: [string, string][] = JSON.parse(process.argv[2] ?? "[]");
const sessions = [];
for (const [email, password] of pairs) sessions.push(await logIn(email, password));
await prisma.$disconnect();
console.log(JSON.stringify(sessions));
