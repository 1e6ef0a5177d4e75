export function SignInView(_: { id?: string }) { return <p>sign-in</p>; }
