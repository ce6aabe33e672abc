using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "greet", worker = .greet)],
  sockets = [(name = "http", http = (), service = "greet")],
);

const greet :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-01-01",
);
