import Metadata
import ObjectStore
import Restore
import ThawCore
import Wire

extension Tally {
    /// `1,000 objects, 1.2 TiB`
    var text: String { "\(Units.count(objects)) object\(objects == 1 ? "" : "s"), \(Units.text(bytes: bytes))" }
}

extension Survey {
    var frozen: Tally { sum(\.frozen) }
    /// Whether there is anything to ask for, or to wait for.
    var isNeeded: Bool { sum(\.frozen).objects + sum(\.extended).objects + sum(\.restoring).objects > 0 }
    /// Readable now, and asked for by nobody.
    var readable: Tally { sum(\.restored) + online }

    private func sum(_ part: KeyPath<Row, Tally>) -> Tally { rows.map { $0[keyPath: part] }.reduce(Tally(), +) }

    /// What `--dry-run` shows of one mount.
    var lines: [String] {
        var lines = [frozen.objects == 0 ? "nothing is frozen" : "to restore: \(frozen.text)"]
        let asked = rows.filter { $0.frozen.objects + $0.extended.objects > 0 }
        if !asked.isEmpty {
            var table = TextTable(
                rightAligned: [3, 4], rows: [["class", "tier", "days", "objects", "bytes", "ready within"]])
            table.rows += asked.map { row in
                [
                    row.storageClass.name, row.order.tier?.rawValue ?? "-", row.order.days.map(String.init) ?? "-",
                    Units.count(row.frozen.objects), Units.text(bytes: row.frozen.bytes),
                    row.longest.map(Units.text) ?? "unknown",
                ]
            }
            lines += table.lines.map { "  " + $0 }
            lines.append("billed by the provider, besides ordinary requests:")
            lines += asked.map { "  \($0.storageClass.name): \($0.billed.text(tier: $0.order.tier))" }
        }
        for (name, tally) in [
            ("copies to be kept longer", sum(\.extended)), ("restoring already", sum(\.restoring)),
            ("restored already", sum(\.restored)), ("online", online),
        ] where tally.objects > 0 {
            lines.append("\(name): \(tally.text)")
        }
        return lines
    }

    /// `1,000 objects, 1.2 TiB (ColdArchive, Bulk, up to 12 h)`: what a request for these scopes is about.
    var requestText: String {
        let parts = rows.map { ($0, $0.frozen + $0.extended + $0.restoring) }.filter { $0.1.objects > 0 }
        let total = parts.map(\.1).reduce(Tally(), +)
        let kinds = parts.map { row, tally in
            let words = [
                row.storageClass.name, row.order.tier?.rawValue, row.longest.map { "up to \(Units.text($0))" },
            ]
            let count = parts.count > 1 ? "\(Units.count(tally.objects)) " : ""
            return count + words.compactMap { $0 }.joined(separator: ", ")
        }
        return "\(total.text) (\(kinds.joined(separator: "; ")))"
    }
}

extension BilledQuantities {
    func text(tier: RestoreTier?) -> String {
        let kind = tier.map { " \($0.rawValue)" } ?? ""
        let parts = [
            requests.map { "\(Units.count($0))\(kind) retrieval request\($0 == 1 ? "" : "s")" },
            bytes.map { "\(Units.text(bytes: $0)) retrieved" },
            byteDays.map { "\(Units.text(bytes: $0))-days of temporary copies" },
        ].compactMap { $0 }
        return parts.isEmpty ? "nothing" : parts.joined(separator: ", ")
    }
}
