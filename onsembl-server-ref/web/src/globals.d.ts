/** The hash of the licences file, for its address. */
declare const __LICENCES__: string;
