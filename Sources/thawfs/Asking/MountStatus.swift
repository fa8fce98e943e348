import Metadata
import Restore
import ThawCore
import Upload
import Wire

/// What a daemon says of its mount, as text.
struct MountStatus {
    let mount: JSON
    let requests: [RequestSummary]
    let waiters: [WaiterSummary]
    let lanes: [LaneSummary]
    let uploads: [UploadSummary]
    /// Nil of a daemon that does not tell.
    let figures: MountFigures?

    init?(_ json: JSON) {
        guard let mount = json["mount"], let requests = json["requests"]?.array, let waiters = json["waiters"]?.array,
            let lanes = json["lanes"]?.array
        else { return nil }
        self.mount = mount
        self.requests = requests.compactMap { RequestSummary($0) }
        self.waiters = waiters.compactMap { WaiterSummary($0) }
        self.lanes = lanes.compactMap { LaneSummary($0) }
        uploads = json["uploads"]?.array?.compactMap { UploadSummary($0) } ?? []
        figures = MountFigures(json)
    }

    func lines(at now: Timestamp) -> [String] {
        [mountLine] + requestLines(now) + waiterLines(now) + laneLines + uploadLines(now)
            + (figures?.lines(at: now) ?? []).map { "  " + $0 }
    }

    private var mountLine: String {
        let uptime = Units.text(.seconds(mount["uptime_seconds"]?.int ?? 0))
        return "\(mount["source"]?.string ?? "") on \(mount["mountpoint"]?.string ?? ""), for \(uptime), "
            + "pid \(mount["pid"]?.int ?? 0), thawfs \(mount["version"]?.string ?? "")"
    }

    private func requestLines(_ now: Timestamp) -> [String] {
        if requests.isEmpty { return ["  no restore has been asked for"] }
        var table = TextTable(
            rightAligned: [0, 1, 5, 6],
            rows: [["request", "age", "who", "what", "state", "objects", "bytes", "ready in"]])
        table.rows += requests.map { request in
            let (done, all) = (request[.restored], request.total)
            let ready = request.finishedAt == nil ? request.eta.map { Units.text($0 - now) } : nil
            return [
                String(request.id), Units.text(now - request.createdAt), request.requester, request.target,
                request.state, "\(Units.count(done.objects))/\(Units.count(all.objects))",
                "\(Units.text(bytes: done.bytes))/\(Units.text(bytes: all.bytes))", ready ?? "-",
            ]
        }
        return table.lines.map { "  " + $0 }
    }

    private func waiterLines(_ now: Timestamp) -> [String] {
        waiters.map { waiter in
            let version = waiter.version.map { " (version \($0))" } ?? ""
            return "  \(waiter.caller) waits on \(waiter.key)\(version) for \(Units.text(now - waiter.since))"
        }
    }

    private var laneLines: [String] {
        lanes.map { lane in
            let isSlowed = lane.perSecond < lane.perSecondMax
            let rate = isSlowed
                ? "slowed down to \(Self.rate(lane.perSecond)) of \(Self.rate(lane.perSecondMax)) objects/s"
                : "up to \(Self.rate(lane.perSecondMax)) objects/s"
            let today = lane.bytesPerDay.map {
                ", \(Units.text(bytes: lane.bytesToday)) of \(Units.text(bytes: $0)) today"
            }
            return "  lane \(lane.name): \(rate)\(today ?? "")" + (lane.pauseReason.map { ", paused: \($0)" } ?? "")
        }
    }

    /// The first of them; `--json` has all.
    private func uploadLines(_ now: Timestamp) -> [String] {
        if uploads.isEmpty { return [] }
        var lines = UploadProgress(uploads).lines.map { "  " + $0 }
        lines += UploadSummary.table(uploads.prefix(Self.uploadsShown), at: now).map { "    " + $0 }
        if uploads.count > Self.uploadsShown {
            lines.append("    and \(Units.count(uploads.count - Self.uploadsShown)) more")
        }
        return lines
    }

    private static let uploadsShown = 20

    private static func rate(_ perSecond: Double) -> String {
        let tenths = Int((perSecond * 10).rounded())
        return Units.count(tenths / 10) + (tenths % 10 == 0 ? "" : ".\(tenths % 10)")
    }
}

extension UploadSummary {
    /// A heading, and a line for each.
    static func table(_ uploads: some Sequence<UploadSummary>, at now: Timestamp) -> [String] {
        var table = TextTable(rightAligned: [1, 2, 3], rows: [["state", "age", "bytes", "sent", "key"]])
        table.rows += uploads.map { upload in
            let sent = upload.sentBytes > 0 ? Units.text(bytes: upload.sentBytes) : "-"
            return [
                upload.stage.rawValue, Units.text(now - upload.since), Units.text(bytes: upload.sizeBytes), sent,
                "\(upload.key)" + (upload.error.map { ": \($0)" } ?? ""),
            ]
        }
        return table.lines
    }
}

extension RequestSummary {
    /// Where the whole request stands, and what went wrong.
    var state: String {
        let state = finishedAt != nil ? "finished" : isCollecting ? "collecting" : "active"
        let losses = [RestoreStage.failed, .cancelled].filter { self[$0].objects > 0 }
        let words = losses.map { "\(Units.count(self[$0].objects)) \($0.rawValue)" }
        return ([state] + (isIncomplete ? ["incomplete"] : []) + words).joined(separator: ", ")
    }

    /// All that is known of it.
    func lines(on mountpoint: String, at now: Timestamp) -> [String] {
        var table = TextTable()
        table.rows.append(["asked for by", "\(requester), \(Self.ago(createdAt, now))"])
        let wished = [wish.days.map { "\($0) day\($0 == 1 ? "" : "s")" }, wish.tier?.rawValue].compactMap { $0 }
        let ownWish = "the mount's days, and each class's own tier"
        table.rows.append(["wish", wished.isEmpty ? ownWish : wished.joined(separator: ", ")])
        table.rows.append(["state", state])
        for stage in RestoreStage.allCases where self[stage].objects > 0 {
            table.rows.append([stage.rawValue, self[stage].text])
        }
        if isCollecting { table.rows.append(["collecting", "its objects are still being looked for"]) }
        if isIncomplete { table.rows.append(["incomplete", "not everything was looked through"]) }
        if let eta, finishedAt == nil {
            let rest = eta > now ? "in \(Units.text(eta - now))" : "any moment"
            table.rows.append(["ready", "\(rest), by \(WireDate.iso8601(eta)) as documented"])
        }
        if let finishedAt { table.rows.append(["finished", Self.ago(finishedAt, now)]) }
        if let error { table.rows.append(["last failure", error]) }
        return ["request \(id) on \(mountpoint): \(target)"] + table.lines.map { "  " + $0 }
    }

    private static func ago(_ time: Timestamp, _ now: Timestamp) -> String {
        "\(Units.text(now - time)) ago (\(WireDate.iso8601(time)))"
    }
}
