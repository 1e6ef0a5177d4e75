export function StopView(_: { id?: string }) { return <p>stop</p>; }
