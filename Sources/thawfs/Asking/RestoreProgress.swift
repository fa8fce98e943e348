import Metadata
import Restore
import ThawCore

/// How far one or several requests have come, and how that is shown. Pure: the clock and the width are given.
struct RestoreProgress: Equatable {
    /// Empty when there are several.
    var title = ""
    var stages: [RestoreStage: Tally] = [:]
    /// Objects are still being listed: the total grows.
    var isCollecting = false
    /// Looking for objects was given up: there may be some that were not asked for.
    var isIncomplete = false
    var isFinished = true
    /// When the slowest is documented to be ready.
    var eta: Timestamp?
    /// The last failure.
    var error: String?

    init() {}

    init(_ requests: [RequestSummary]) {
        if requests.count == 1, let id = requests.first?.id { title = "request \(id)" }
        for request in requests {
            stages.merge(request.tallies, uniquingKeysWith: +)
            isCollecting = isCollecting || request.isCollecting
            isIncomplete = isIncomplete || request.isIncomplete
            isFinished = isFinished && request.finishedAt != nil
            eta = [eta, request.eta].compactMap { $0 }.max()
            error = request.error ?? error
        }
    }

    subscript(stage: RestoreStage) -> Tally { stages[stage] ?? Tally() }
    var total: Tally { stages.values.reduce(Tally(), +) }
    /// Why a finished request is no success; nil when all that was meant is restored.
    var shortfall: String? {
        let hasFailures = self[.failed].objects + self[.cancelled].objects > 0
        let reason = error.map { ": \($0)" } ?? ""
        if isIncomplete { return "not everything was looked through\(reason)" }
        return hasFailures ? "not all was restored\(reason)" : nil
    }

    /// 0...1, by bytes; by objects if they are all empty.
    var fraction: Double {
        let done = self[.restored] + self[.failed] + self[.cancelled]
        if total.objects == 0 { return isFinished ? 1 : 0 }
        if total.bytes == 0 { return Double(done.objects) / Double(total.objects) }
        return Double(done.bytes) / Double(total.bytes)
    }

    // MARK: Text

    /// A whole sentence, for logs and pipes.
    func line(rate: RestoreRate? = nil, at now: Timestamp) -> String {
        ((title.isEmpty ? "" : "\(title): ") + parts(rate, now).map(\.text).joined(separator: ", "))
    }

    /// One line of a terminal that is never wider than `width`: a bar, and as much of the sentence as there is room
    /// for, the least important left out first.
    func bar(width: Int, rate: RestoreRate? = nil, at now: Timestamp) -> String {
        var parts = parts(rate, now)
        let percent = "\(Int((fraction * 100).rounded(.down)))%"
        func text() -> String { ([percent] + parts.map(\.text)).joined(separator: "  ") }
        while !parts.isEmpty, text().count + Self.barMin + 3 > width {
            guard let least = parts.map(\.rank).max() else { break }
            parts.removeAll { $0.rank == least }
        }
        let cells = min(width - text().count - 3, Self.barMax)
        guard cells >= Self.barMin else { return String(text().prefix(max(width, 0))) }
        let filled = Int((fraction * Double(cells)).rounded(.down))
        let blanks = String(repeating: "-", count: cells - filled)
        return "[" + String(repeating: "#", count: filled) + blanks + "] " + text()
    }

    private static let barMin = 6
    private static let barMax = 30

    /// What there is to say, in the order in which it is said; the higher its rank, the less it is missed.
    private func parts(_ rate: RestoreRate?, _ now: Timestamp) -> [(text: String, rank: Int)] {
        let restored = self[.restored]
        let more = isCollecting ? "+" : ""
        var parts = [
            ("\(Units.count(restored.objects))/\(Units.count(total.objects))\(more) objects", 0),
            ("\(Units.text(bytes: restored.bytes))/\(Units.text(bytes: total.bytes))\(more)", 2),
        ]
        for (stage, rank) in [(RestoreStage.failed, 1), (.cancelled, 1), (.restoring, 4), (.queued, 5)]
        where self[stage].objects > 0 {
            parts.append(("\(Units.count(self[stage].objects)) \(stage.rawValue)", rank))
        }
        if let rate { parts.append((rate.text, 6)) }
        if let eta, !isFinished {
            parts.append((eta > now ? "ready in \(Units.text(eta - now))" : "ready any moment", 3))
        }
        return parts
    }
}

struct RestoreRate: Equatable {
    var objectsPerSecond: Double
    var bytesPerSecond: Double

    var text: String {
        let tenths = Int((objectsPerSecond * 10).rounded())
        let objects = tenths < 100 ? "\(tenths / 10).\(tenths % 10)" : Units.count(tenths / 10)
        return "\(objects) objects/s, \(Units.text(bytes: UInt64(bytesPerSecond)))/s"
    }
}

/// How fast objects have become readable in the last minute.
struct RateWindow {
    private var samples: [(time: Timestamp, restored: Tally)] = []
    private static let span = Duration.seconds(60)

    /// Takes a sample and answers the rate; nil while nothing moves.
    mutating func add(_ restored: Tally, at now: Timestamp) -> RestoreRate? {
        samples.append((now, restored))
        // One from before the span stays, so that there is always something to compare with.
        while samples.count > 2, now - samples[1].time > Self.span { samples.removeFirst() }
        guard let first = samples.first, restored.objects > first.restored.objects else { return nil }
        let seconds = (now - first.time).secondsRounded
        guard seconds > 0, restored.bytes >= first.restored.bytes else { return nil }
        return RestoreRate(
            objectsPerSecond: Double(restored.objects - first.restored.objects) / seconds,
            bytesPerSecond: Double(restored.bytes - first.restored.bytes) / seconds)
    }
}
