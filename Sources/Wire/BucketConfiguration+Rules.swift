import ThawCore

/// What is wrong with a configuration's document, and what would be right.
package struct ConfigurationProblem: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

extension BucketConfiguration {
    /// Checks a document before it is sent: that it is one, of the right kind, and the rules that are certain to be
    /// broken. The provider has the last word.
    package static func check(_ body: [UInt8], is kind: Kind, in dialect: Dialect) throws(ConfigurationProblem) {
        if kind.isJSON { return try checkBackupPolicy(body) }
        let root = try element(body, kind)
        switch kind {
        case .lifecycle: try checkLifecycle(root, dialect)
        case .cors: try checkCORS(root)
        case .objectLock: try checkObjectLock(root)
        case .protection: try checkProtection(root)
        case .website: try checkWebsite(root)
        case .publicAccessBlock: try checkBooleans(root)
        case .inventory: _ = try inventoryID(body)
        case .versioning: try require(root, "Status", in: ["Enabled", "Suspended"])
        case .archiveDirectRead: try require(root, "Enabled", in: ["true", "false"])
        case .location, .uploads, .backupPolicies: break
        }
    }

    /// Of an `<InventoryConfiguration>`.
    package static func inventoryID(_ body: [UInt8]) throws(ConfigurationProblem) -> String {
        let id = try element(body, .inventory)["Id"]?.text ?? ""
        guard !id.isEmpty else { throw ConfigurationProblem("<InventoryConfiguration> needs an <Id>") }
        return id
    }

    private static func element(_ body: [UInt8], _ kind: Kind) throws(ConfigurationProblem) -> XMLElement {
        let root: XMLElement
        do throws(XMLError) {
            root = try XMLElement(document: body)
        } catch {
            throw ConfigurationProblem(error.description)
        }
        guard root.name == kind.root else {
            throw ConfigurationProblem("<\(root.name)> where <\(kind.root)> is expected")
        }
        return root
    }

    // MARK: - Lifecycle

    private static let rulesMax = 1000

    private static func checkLifecycle(_ root: XMLElement, _ dialect: Dialect) throws(ConfigurationProblem) {
        let rules = root.all("Rule")
        guard (1...rulesMax).contains(rules.count) else {
            throw ConfigurationProblem("\(rules.count) rules; there must be from 1 to \(rulesMax)")
        }
        for (index, rule) in rules.enumerated() {
            do throws(ConfigurationProblem) {
                try checkRule(rule)
                if dialect.archivesByRule { try checkArchiving(rule) }
            } catch {
                throw ConfigurationProblem("rule \(index + 1): \(error)")
            }
        }
        if dialect.archivesByRule, rules.filter({ $0["Transition"] != nil }).count > 1 {
            throw ConfigurationProblem("several rules have a <Transition>; IBM COS takes one in a bucket")
        }
    }

    private static func checkRule(_ rule: XMLElement) throws(ConfigurationProblem) {
        try require(rule, "Status", in: ["Enabled", "Disabled"])
        let actions = [
            "Transition", "Expiration", "NoncurrentVersionTransition", "NoncurrentVersionExpiration",
            "AbortIncompleteMultipartUpload", "AbortMultipartUpload",
        ]
        guard rule.children.contains(where: { actions.contains($0.name) }) else {
            throw ConfigurationProblem("it does nothing; it needs a <Transition>, an <Expiration> or another action")
        }
        for expiration in rule.all("Expiration") where expiration["Days"] != nil {
            _ = try number(expiration, "Days", 1...Int.max)
        }
        for transition in rule.all("Transition") where transition["Days"] != nil {
            _ = try number(transition, "Days", 0...Int.max)
        }
        for expiration in rule.all("NoncurrentVersionExpiration") where expiration["NoncurrentDays"] != nil {
            _ = try number(expiration, "NoncurrentDays", 1...Int.max)
        }
        for abortion in rule.all("AbortIncompleteMultipartUpload") {
            _ = try number(abortion, "DaysAfterInitiation", 1...Int.max)
        }
    }

    /// IBM COS archives by such a rule, whole buckets only.
    private static func checkArchiving(_ rule: XMLElement) throws(ConfigurationProblem) {
        if let id = rule["ID"]?.text, !id.utf8.allSatisfy({ isIDByte($0) }) {
            throw ConfigurationProblem("<ID>\(id)</ID>; an ID has letters, digits and ! _ . * ' ( ) - only")
        }
        guard let transition = rule["Transition"] else { return }
        guard rule.all("Transition").count == 1 else { throw ConfigurationProblem("it has several <Transition>s") }
        let prefix = (rule["Filter"]?["Prefix"] ?? rule["Prefix"])?.text ?? ""
        guard prefix.isEmpty else {
            throw ConfigurationProblem(
                "the prefix is “\(prefix)”; IBM COS archives whole buckets only: with a <Transition> it must be empty")
        }
        try require(transition, "StorageClass", in: ["GLACIER", "ACCELERATED"])
        guard (transition["Days"] == nil) != (transition["Date"] == nil) else {
            throw ConfigurationProblem("<Transition> needs either <Days> or <Date>")
        }
    }

    private static func isIDByte(_ byte: UInt8) -> Bool {
        let character = Character(Unicode.Scalar(byte))
        return byte < 0x80 && (character.isLetter || character.isNumber || "!_.*'()-".contains(character))
    }

    // MARK: - The others

    private static func checkCORS(_ root: XMLElement) throws(ConfigurationProblem) {
        let rules = root.all("CORSRule")
        guard !rules.isEmpty else { throw ConfigurationProblem("it has no <CORSRule>") }
        for (index, rule) in rules.enumerated() {
            guard rule["AllowedOrigin"] != nil, rule["AllowedMethod"] != nil else {
                throw ConfigurationProblem("rule \(index + 1) needs an <AllowedOrigin> and an <AllowedMethod>")
            }
            for method in rule.all("AllowedMethod") {
                guard ["GET", "PUT", "POST", "DELETE", "HEAD"].contains(method.text) else {
                    throw ConfigurationProblem(
                        "rule \(index + 1): <AllowedMethod> is “\(method.text)”; there are GET, PUT, POST, DELETE and HEAD")
                }
            }
        }
    }

    private static func checkObjectLock(_ root: XMLElement) throws(ConfigurationProblem) {
        // IBM's older pages print ENABLED, which its service does not take.
        try require(root, "ObjectLockEnabled", in: ["Enabled"])
        guard let retention = root["Rule"]?["DefaultRetention"] else {
            if root["Rule"] != nil { throw ConfigurationProblem("<Rule> needs a <DefaultRetention>") }
            return
        }
        try require(retention, "Mode", in: ["COMPLIANCE", "GOVERNANCE"])
        guard (retention["Days"] == nil) != (retention["Years"] == nil) else {
            throw ConfigurationProblem("<DefaultRetention> needs either <Days> or <Years>")
        }
        _ = try number(retention, retention["Days"] != nil ? "Days" : "Years", 1...Int.max)
    }

    /// 1,000 years, as IBM's "Bucket operations" has it; newer pages say 99, which the service will tell.
    private static let retentionDaysMax = 365_243

    private static func checkProtection(_ root: XMLElement) throws(ConfigurationProblem) {
        try require(root, "Status", in: ["Retention"])
        let names = ["MinimumRetention", "DefaultRetention", "MaximumRetention"]
        let days = try names.map { name throws(ConfigurationProblem) in
            guard let period = root[name] else { throw ConfigurationProblem("it needs a <\(name)>") }
            return try number(period, "Days", 0...retentionDaysMax)
        }
        guard days == days.sorted() else {
            throw ConfigurationProblem(
                "the retentions are \(days[0]), \(days[1]) and \(days[2]) days; minimum, default and maximum must not fall")
        }
    }

    private static func checkWebsite(_ root: XMLElement) throws(ConfigurationProblem) {
        guard !root.children.isEmpty else {
            throw ConfigurationProblem("it is empty; it needs an <IndexDocument> or <RedirectAllRequestsTo>")
        }
        if root["RedirectAllRequestsTo"] != nil, root.children.count > 1 {
            throw ConfigurationProblem("<RedirectAllRequestsTo> goes with nothing else")
        }
        if let index = root["IndexDocument"] {
            let suffix = index["Suffix"]?.text ?? ""
            guard !suffix.isEmpty, !suffix.contains("/") else {
                throw ConfigurationProblem("<IndexDocument> needs a <Suffix> without a slash, such as index.html")
            }
        }
    }

    private static func checkBooleans(_ root: XMLElement) throws(ConfigurationProblem) {
        guard !root.children.isEmpty else { throw ConfigurationProblem("it says nothing") }
        for child in root.children where !["true", "false"].contains(child.text.lowercased()) {
            throw ConfigurationProblem("<\(child.name)> is “\(child.text)”; it is true or false")
        }
    }

    private static func checkBackupPolicy(_ body: [UInt8]) throws(ConfigurationProblem) {
        guard let policy = JSON(body), case .object = policy else {
            throw ConfigurationProblem("a backup policy is a JSON object")
        }
        guard let name = policy["policy_name"]?.string, !name.isEmpty else {
            throw ConfigurationProblem("it needs a \"policy_name\"")
        }
        guard policy["target_backup_vault_crn"]?.string?.hasPrefix("crn:") == true else {
            throw ConfigurationProblem("\"target_backup_vault_crn\" must be the CRN of a backup vault")
        }
        guard policy["backup_type"]?.string == "continuous" else {
            throw ConfigurationProblem("\"backup_type\" must be \"continuous\"")
        }
        guard let days = policy["initial_retention"]?["delete_after_days"]?.int, days > 0 else {
            throw ConfigurationProblem("\"initial_retention\" needs \"delete_after_days\", a number of days from 1 on")
        }
    }

    // MARK: - Values

    private static func require(
        _ parent: XMLElement, _ name: String, in allowed: [String]
    ) throws(ConfigurationProblem) {
        let words = allowed.joined(separator: " or ")
        guard let child = parent[name] else {
            throw ConfigurationProblem("<\(parent.name)> needs a <\(name)>: \(words)")
        }
        guard allowed.contains(child.text) else {
            throw ConfigurationProblem("<\(name)> is “\(child.text)”; it must be \(words)")
        }
    }

    private static func number(
        _ parent: XMLElement, _ name: String, _ range: ClosedRange<Int>
    ) throws(ConfigurationProblem) -> Int {
        let text = parent[name]?.text ?? ""
        guard let number = Int(text), range.contains(number) else {
            let bounds = range.upperBound == .max
                ? "from \(range.lowerBound) on" : "from \(range.lowerBound) to \(range.upperBound)"
            throw ConfigurationProblem("<\(parent.name)> has “\(text)” for <\(name)>; it must be a number \(bounds)")
        }
        return number
    }
}

extension Dialect {
    /// Objects come into the archive classes by a lifecycle rule only, of which there is one.
    fileprivate var archivesByRule: Bool {
        switch self {
        case .oss, .s3, .oas: false
        case .cos: true
        }
    }
}
