export function SettingsView(_: { id?: string }) { return <p>settings</p>; }
