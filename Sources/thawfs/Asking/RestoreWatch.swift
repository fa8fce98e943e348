import Control
import Metadata
import Restore
import ThawCore

/// Waits for requests to be finished, and shows how far they are.
struct RestoreWatch {
    enum Outcome {
        case finished([RequestSummary])
        case timedOut
        case interrupted
        /// There is nobody any more who could be asked.
        case lost(DaemonError)
    }

    let requests: [(daemon: Daemon, id: Int64)]
    /// Nil for ever.
    let limit: Duration?
    private static let interval = Duration.seconds(1)

    /// Returns when all are finished, the limit is over, or a signal asks to stop; the restores go on in any case.
    func wait(showingOn display: ProgressDisplay) async throws -> Outcome {
        let stop = StopSignals()
        let watching = Task { try await watch(display) }
        let listening = Task {
            await stop.wait()
            watching.cancel()
        }
        defer { listening.cancel() }
        return try await watching.value
    }

    private func watch(_ display: ProgressDisplay) async throws -> Outcome {
        var (display, window) = (display, RateWindow())
        var shown: [RestoreStage: Tally]?
        defer { display.end() }
        let deadline = limit.map { ContinuousClock.now + $0 }
        while true {
            do {
                let summaries = try look()
                let progress = RestoreProgress(summaries)
                let now = Timestamp.now()
                let rate = window.add(progress[.restored], at: now)
                display.show(isNews: progress.stages != shown, line: progress.line(rate: rate, at: now), at: now) {
                    progress.bar(width: $0, rate: rate, at: now)
                }
                shown = progress.stages
                if progress.isFinished { return .finished(summaries) }
            } catch let error as DaemonError {
                // A daemon that takes too long is asked again.
                if error.cause != .noAnswer { return .lost(error) }
            }
            let rest = deadline.map { ContinuousClock.now.duration(to: $0) } ?? Self.interval
            if rest <= .zero { return .timedOut }
            do { try await Task.sleep(for: min(rest, Self.interval)) } catch { return .interrupted }
        }
    }

    private func look() throws -> [RequestSummary] {
        try requests.map { daemon, id in
            let reply = try daemon.ask(["command": "request", "id": JSON(id)])
            return try daemon.expect(reply["request"].flatMap { RequestSummary($0) }, in: reply)
        }
    }
}
