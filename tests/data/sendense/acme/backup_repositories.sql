-- Written by hand in the shape of mysqldump --tab.
DROP TABLE IF EXISTS `backup_repositories`;
CREATE TABLE `backup_repositories` (
  `id` varchar(64) NOT NULL,
  `name` varchar(255) NOT NULL,
  `repository_type` enum('local','nfs','cifs','smb','s3','azure') NOT NULL,
  `is_immutable` tinyint(1) DEFAULT 0,
  `min_retention_days` int DEFAULT 0,
  `total_size_bytes` bigint DEFAULT NULL,
  `used_size_bytes` bigint DEFAULT NULL,
  `last_check_at` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
