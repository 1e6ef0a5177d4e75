export function AgentView(_: { id?: string }) { return <p>agent</p>; }
