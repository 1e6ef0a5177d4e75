export function IncidentsView(_: { id?: string }) { return <p>incidents</p>; }
