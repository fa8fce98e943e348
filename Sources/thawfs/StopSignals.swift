import Dispatch
import Glibc

/// Turns SIGINT, SIGTERM and SIGHUP (the terminal has gone) into something to wait for. In force from its creation
/// until it is gone.
struct StopSignals {
    private let sources: [any DispatchSourceSignal]
    let arrivals: AsyncStream<Void>

    init() {
        let (arrivals, arrived) = AsyncStream.makeStream(of: Void.self)
        self.arrivals = arrivals
        sources = [SIGINT, SIGTERM, SIGHUP].map { number in
            // Otherwise the default action ends the process before the source hears of it.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { arrived.yield() }
            source.resume()
            return source
        }
    }

    /// Returns when one of them has come.
    func wait() async {
        for await _ in arrivals { return }
    }
}
