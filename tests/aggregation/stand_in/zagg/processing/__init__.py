import h5coro as h5coro
from h5coro import H5Coro as H5Coro
