package import Wire

/// What somebody wrote into `user.thaw.restore`: nothing, or `days=7,tier=Bulk` in any order.
package struct RestoreWish: Sendable, Equatable {
    package var days: Int?
    package var tier: RestoreTier?

    package init(days: Int? = nil, tier: RestoreTier? = nil) {
        self.days = days
        self.tier = tier
    }

    package init(parsing text: String) throws(RestoreError) {
        guard !text.isEmpty else { return }
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = parts.count == 2 ? String(parts[1]) : ""
            switch parts[0] {
            case "days":
                guard self.days == nil else { throw .invalidOrder("days is given twice") }
                guard let days = Int(value), days > 0 else {
                    throw .invalidOrder("days=\(value): a whole number of days, at least 1")
                }
                self.days = days
            case "tier":
                guard self.tier == nil else { throw .invalidOrder("tier is given twice") }
                guard let tier = RestoreTier.allCases.first(where: { $0.rawValue.lowercased() == value.lowercased() })
                else {
                    throw .invalidOrder("tier=\(value): one of Expedited, Standard, Bulk")
                }
                self.tier = tier
            default: throw .invalidOrder("“\(item)”: expected days=N or tier=NAME, joined by a comma")
            }
        }
    }
}
