export function CommandsView(_: { id?: string }) { return <p>commands</p>; }
