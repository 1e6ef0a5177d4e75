// A relay on socket.io over WebSocket, with connection state recovery: what a dashboard missed for a while is kept.
'use strict';
const { createServer } = require('http');
const { Server } = require('socket.io');

const http = createServer();
const io = new Server(http, {
  transports: ['websocket'], perMessageDeflate: false, pingInterval: 25000, pingTimeout: 60000,
  maxHttpBufferSize: 1 << 20, connectionStateRecovery: { maxDisconnectionDuration: 2 * 60 * 1000 },
});
io.on('connection', (socket) => {
  socket.on('watch', (answer) => {
    socket.join('dashboards');
    answer(1);
  });
  socket.on('hello', (hello, answer) => answer(1));
  socket.on('beat', (beat, answer) => answer(beat.sequence));
  socket.on('output', (text) => io.to('dashboards').emit('output', text));
});
http.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => console.log(`127.0.0.1:${http.address().port}`));
