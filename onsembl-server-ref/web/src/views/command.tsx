export function CommandView(_: { id?: string }) { return <p>command</p>; }
