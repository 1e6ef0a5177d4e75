// A relay on the package `ws`: texts of agents are answered, binary messages are passed on to every dashboard.
'use strict';
const { WebSocketServer } = require('ws');

const ANSWER = JSON.stringify({
  type: 'SERVER_HEARTBEAT', id: '00000000-0000-4000-8000-000000000000', timestamp: 1762080000000,
  payload: { serverTime: 1762080000000, sequence: 1, seen: { sequence: 1, ageMs: 1 } },
});
const dashboards = new Set();
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, backlog: 4096, perMessageDeflate: false });
server.on('listening', () => console.log(`127.0.0.1:${server.address().port}`));
server.on('connection', (link, request) => {
  link.on('error', () => link.terminate());
  if (request.url.endsWith('dashboard')) {
    dashboards.add(link);
    link.on('close', () => dashboards.delete(link));
  }
  link.on('message', (data, binary) => {
    if (!binary) {
      link.send(ANSWER);
      return;
    }
    for (const dashboard of dashboards) dashboard.send(data, { binary: true });
  });
});
