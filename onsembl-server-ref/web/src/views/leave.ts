// Signing out: the server forgets the session, and the page forgets everything that it showed.

import { errorText } from "../api.ts";
import { announcer } from "../store/announce.ts";
import { signOut } from "../store/session.ts";

export async function leave(): Promise<void> {
  try {
    await signOut();
  } catch (error) {
    announcer.say("sign-out", `Not signed out: ${errorText(error)}`);
    throw error;
  }
  window.location.assign("/sign-in");
}
