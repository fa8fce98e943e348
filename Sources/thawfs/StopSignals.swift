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
        let numbers = [SIGINT, SIGTERM, SIGHUP]
        let registered = DispatchSemaphore(value: 0)
        sources = numbers.map { number in
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { arrived.yield() }
            source.setRegistrationHandler { registered.signal() }
            source.resume()
            return source
        }
        // Registered, a source has its own handler in place of the default action, which until then ends the process.
        // Were the signals ignored until then, one that comes early would be lost.
        for _ in numbers { registered.wait() }
    }

    /// Returns when one of them has come.
    func wait() async {
        for await _ in arrivals { return }
    }
}
