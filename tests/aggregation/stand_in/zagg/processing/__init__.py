import h5coro as h5coro
