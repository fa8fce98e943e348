internal import Metadata
internal import ThawCore

/// How the restore of a snapshot into a directory stands, over all its jobs.
package struct BackupStanding: Sendable, Equatable, CustomStringConvertible {
    /// `queued`, `running`, `cancelling`; `complete`, `partial`, `failed`, `cancelled`
    package var word: String
    /// 0...100
    package var percent: Int
    package var error: String?
    package var errorFile: String?

    /// Nil without any job.
    init?(_ jobs: [(row: BackupRow, progress: Double)]) {
        if jobs.isEmpty { return nil }
        let left = jobs.filter { $0.row.stage != .ended }
        let statuses = Set(jobs.compactMap(\.row.status).map(RestoreJob.Status.init))
        if left.contains(where: { $0.row.stage == .cancelling }) {
            word = "cancelling"
        } else if !left.isEmpty {
            word = left.count < jobs.count || statuses.contains(.running) ? "running" : "queued"
        } else if statuses.contains(.failed) || statuses.contains(.expired) {
            word = "failed"
        } else if statuses.contains(.cancelled) {
            word = "cancelled"
        } else {
            word = statuses.contains(.partlyComplete) ? "partial" : "complete"
        }
        let done = jobs.reduce(0) { $0 + ($1.row.stage == .ended ? 1 : $1.progress) }
        percent = Int(done / Double(jobs.count) * 100)
        error = jobs.lazy.compactMap(\.row.error).first
        errorFile = jobs.lazy.compactMap(\.row.errorFile).first
    }

    private static let textMax = 200

    /// `backup=running progress=50%`, `backup=partial error_file=…`, `backup=failed error=…`: the words first, what the
    /// service says last, cut short.
    package var description: String {
        var text = "backup=\(word)"
        if ["queued", "running", "cancelling"].contains(word) { text += " progress=\(percent)%" }
        func add(_ name: String, _ value: String?) {
            if let value { text += " \(name)=\(value.printable.prefix(Self.textMax))" }
        }
        add("error_file", errorFile)
        add("error", error)
        return text
    }
}
